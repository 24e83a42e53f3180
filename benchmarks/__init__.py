"""Accuracy and speed, measured on data that the user names; nothing here ships to workers."""
