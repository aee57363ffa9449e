"""Grading: notebooks built from their sources, exercises released, answers judged away from the code that gives them.

Nothing is imported here: the sandbox opens this room too, and must not pay for nbgrader. The doors are

    python -m course_lib.grading.notebooks            build notebooks/, solutions/ and exercises/ (``--check`` compares)
    python -m course_lib.grading grade DAY FOLDER     grade a folder of submissions into the gradebook and a CSV file
"""
