"""The report of several runs as ./dev bench report writes it: medians with their extremes, and a refusal
of runs that cannot be told in one table."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

import chart

HERE = os.path.dirname(os.path.realpath(__file__))


def run(cpu_us, ratio, **more):
    return {"cpu": [{"kind": "GET", "connections": 32, "cpu_us": {"oneshot": cpu_us, "nginx": 30.0},
                     "cpu_ratio": {"oneshot": ratio, "nginx": 1.0},
                     "rps": {"oneshot": 20000.0, "nginx": 30000.0},
                     "rps_ratio": {"oneshot": 0.67, "nginx": 1.0}}],
            "environment": {"date": "2026-01-01", "program": "0.1", "versions": "", "system": "", "cpu": ""}, **more}


class Report(unittest.TestCase):
    def test_each_number_of_several_runs_is_their_median_and_keeps_the_extremes(self):
        cpu = chart.together([run(36.0, 1.2), run(33.0, 1.1), run(39.0, 1.3)])["cpu"][0]
        self.assertEqual(cpu["cpu_us"]["oneshot"], 36.0)
        self.assertEqual((cpu["cpu_ratio"]["oneshot"].low, cpu["cpu_ratio"]["oneshot"].high), (1.1, 1.3))
        self.assertEqual((cpu["kind"], cpu["connections"]), ("GET", 32))

    def test_what_only_some_runs_measured_is_left_out(self):
        self.assertNotIn("start", chart.together([run(36.0, 1.2, start={"oneshot": 8.0}), run(33.0, 1.1)]))

    def test_the_table_tells_lowest_and_highest_ratio_of_several_runs(self):
        both = chart.together([run(36.0, 1.2), run(33.0, 1.1)])
        text = chart.report(both, both["environment"], 2)
        self.assertIn("| GET | 32 | 34.5 (1.10 to 1.20) | 30.0 |", text)
        self.assertIn("median of 2 whole runs", text)
        self.assertIn("34.5 (1.10 to 1.20)", chart.svg(both, 2))

    def test_the_table_of_one_run_tells_one_ratio(self):
        one = run(36.0, 1.2)
        self.assertIn("| GET | 32 | 36.0 (1.20) | 30.0 |", chart.report(one, one["environment"]))


class Command(unittest.TestCase):
    def report(self, *runs):
        with tempfile.TemporaryDirectory() as dir:
            files = [os.path.join(dir, f"{i}.json") for i in range(len(runs))]
            for file, results in zip(files, runs):
                with open(file, "w") as f:
                    json.dump(results, f)
            return subprocess.run([sys.executable, "-B", os.path.join(HERE, "bench.py"), "report", *files],
                                  capture_output=True, text=True)

    def test_a_run_of_some_parts_only_is_refused(self):
        for refused in (self.report(), self.report(run(36.0, 1.2))):
            self.assertEqual(refused.returncode, 1)
            self.assertIn("report wants the bench-results.json of one or more whole runs", refused.stderr)

    def test_runs_of_different_programs_are_refused(self):
        whole = run(36.0, 1.2, latency=[], bulk=[], memory={})
        other = dict(whole, environment=dict(whole["environment"], program="0.2"))
        refused = self.report(whole, other)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("different versions, machines or days", refused.stderr)


unittest.main()
