"""INT8 that is proven not to hurt: the convolutions that can take it, chosen by measurement, behind a gate."""
