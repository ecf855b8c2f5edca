"""From a prepared corpus to batches of uint8 images, and their augmentation on the device."""
