"""The record of trainings: the study, and tables made of it."""
