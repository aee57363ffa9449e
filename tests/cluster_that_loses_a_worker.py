"""A class on a Dask cluster of which one worker is killed: prints, as JSON, who passed and who should have.

``test_grading_fan_out`` runs this in a copy of the course: workers that start again must not find files that somebody has
edited meanwhile, because a worker with another version is refused.
"""

import json
import os
import signal

from distributed import Client, LocalCluster
from test_grading_fan_out import class_of, passed

from course_lib.grading.fan_out import ask_everybody
from course_lib.grading.sandbox import Limits, Sandbox


def main():
    asked, right = class_of(6)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        workers, found = client.run(os.getpid), {}
        address, limits = cluster.scheduler_address, Limits(cpu_seconds=10)
        for batch in ask_everybody(asked, Sandbox(limits), ("torch",), scheduler=address, shared=1):
            if not found:
                os.kill(min(workers.values()), signal.SIGKILL)
            found |= passed(batch)
    print(json.dumps({"workers": len(workers), "found": found, "right": right}))


if __name__ == "__main__":  # Dask's workers import this file too
    main()
