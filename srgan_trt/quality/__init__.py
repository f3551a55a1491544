"""How good a picture is: the field's bicubic and scores, and small pictures of known damage. NumPy and Pillow only."""
