"""Datalists, presets, preprocessing, augmentation and generated data."""
