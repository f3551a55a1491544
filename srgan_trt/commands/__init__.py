"""What the commands do: cli.py parses and calls, these work and say what came of it."""
