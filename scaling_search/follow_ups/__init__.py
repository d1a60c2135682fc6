"""Tests of an answer: on test images, at other learning rates and lengths, at larger sizes."""
