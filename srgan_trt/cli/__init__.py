"""The command line: main.py parses and calls; a module for each command has its arguments, its help, and its run."""
