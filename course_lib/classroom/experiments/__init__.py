"""Day 92's experiments: one file per question, one command each, and the small RT-1 that they all train."""
