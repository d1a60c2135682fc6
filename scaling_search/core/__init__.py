"""Values: what the other packages speak in; no file, device or process."""
