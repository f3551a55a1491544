"""Int8 quantisation: the convolutions that can take it, chosen by measurement, behind a gate on quality."""
