"""Any folder of images with a list of labels."""
