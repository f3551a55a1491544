"""The HTTP service: pictures in, enlarged pictures out, and a page for a browser."""
