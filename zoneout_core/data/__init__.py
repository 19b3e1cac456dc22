"""The files of data sets: which they are, whether they are whole, and how to get them."""
