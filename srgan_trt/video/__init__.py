"""Videos and animated pictures, frame by frame, with all that belongs to them."""
