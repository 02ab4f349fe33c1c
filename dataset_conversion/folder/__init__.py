"""Converting a folder of a user's own images and label images."""
