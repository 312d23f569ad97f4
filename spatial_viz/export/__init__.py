"""Files to keep: HTML, PDF, GIF and MP4."""
