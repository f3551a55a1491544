"""Files <-> pictures: sources and downloads, decoding, transparency, tiles, encoding."""
