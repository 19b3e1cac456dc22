"""The files of data sets: what they are, whether they are complete, and how to get them."""
