"""What questions are answered with."""
