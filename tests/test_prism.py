"""Prism: a stream with state, timers and an end, on the real binary."""

from __future__ import annotations

from functools import partial

import counting_job
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from runners import downloads, prism


@pytest.mark.integration
def test_a_stream_gives_its_results_on_prism(tmp_path):
    total = 2 * counting_job.WINDOW * counting_job.RECORDS_A_SECOND
    build = partial(counting_job.build, folder=tmp_path, total=total)
    prism.run(build, PipelineOptions(["--streaming"]))
    right = {line for i in range(counting_job.SERIES) for line in counting_job.expected(i, 2)}
    assert set(counting_job.lines(tmp_path)) == right


def test_a_binary_that_cannot_be_had_says_what_to_do(tmp_path, monkeypatch):
    def fails(*unused):
        raise RuntimeError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prism.PrismJobServer, "path_to_binary", fails)
    with pytest.raises(downloads.DownloadFailed, match="no network.*--prism_location=FILE.*Go"):
        prism.binary(PipelineOptions([]))
