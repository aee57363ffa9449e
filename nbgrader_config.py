"""nbgrader's settings: where the course lies, how exercises are made, and who grades them.

Read by ``nbgrader`` itself (formgrader, feedback) and by ``python -m course_lib.grading``.
"""

import os
import sysconfig
from pathlib import Path

# nbgrader starts "alembic" by name, which is not found unless the virtual environment is activated.
os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])

c = get_config()
P = "nbgrader.preprocessors."

c.CourseDirectory.course_id = "robotics_transformers"
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
# The .py files in solutions/ are the sources of the notebooks: nbgrader would copy them to the learners.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "*.py"]

c.ClearSolutions.code_stub = {"python": "raise NotImplementedError  # your code here"}
c.ClearSolutions.text_stub = "*Your answer here.*"
c.TagRemovePreprocessor.enabled = True
c.TagRemovePreprocessor.remove_cell_tags = ["worked-solution"]
c.GenerateAssignment.preprocessors = [
    "nbconvert.preprocessors.TagRemovePreprocessor",  # worked solutions stay in solutions/
    P + "LockCells",
    P + "ClearSolutions",
    P + "ClearOutput",
    P + "CheckCellMetadata",
    P + "ComputeChecksums",
    P + "SaveCells",
    P + "ClearHiddenTests",
    P + "ClearMarkScheme",
    P + "ComputeChecksums",
    P + "CheckCellMetadata",
]

# A submission's own code never runs in this process: SandboxGrade stands where nbgrader's Execute would.
c.Autograde.autograde_preprocessors = [
    "course_lib.grading.score.SandboxGrade",
    P + "LimitOutput",
    P + "SaveAutoGrades",
    P + "AssignLatePenalties",
    P + "CheckCellMetadata",
]

# Late work: the due date is set in formgrader; what each late day costs is course_lib.grading.late's to say.
c.AssignLatePenalties.plugin_class = "course_lib.grading.late.LateDays"

# Students' text is cleaned wherever it becomes HTML: formgrader's pages run on this server. Feedback works offline.
c.HTMLExporter.filters = {
    "markdown2html": "course_lib.grading.feedback.clean_markdown",
    "strip_files_prefix": "course_lib.grading.feedback.as_it_is",
}
c.HTMLExporter.sanitize_html = True
c.GenerateFeedback.exporter_class = "course_lib.grading.feedback.OfflineHTML"
