"""What is kept of trainings: the study, and tables made of it."""
