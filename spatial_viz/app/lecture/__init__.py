"""The steps of the lecture, one demonstration each."""
