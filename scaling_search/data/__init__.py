"""From people's files and the package's own to uint8 images in memory maps."""
