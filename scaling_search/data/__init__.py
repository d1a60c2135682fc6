"""From image files to uint8 images in memory maps."""
