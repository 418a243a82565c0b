"""The result of a run, and the command that resumes it."""

from collections import Counter
from pathlib import Path

from pelagia.model.decision import ABSTAINED, ACCEPTED, ROLLED_UP, Verdict
from pelagia.sources import ListingOptions
from pelagia_inference.machine.setting import Setting
from pelagia_inference.survey.progress import SurveyProgress
from pelagia_inference.survey.runner import SurveyResult, resume_command


def test_a_result_counts_its_decisions() -> None:
    verdicts = Counter(
        {
            Verdict(ACCEPTED, "medusa", "class"): 3,
            Verdict(ROLLED_UP, "Cnidaria", "phylum"): 1,
            Verdict(ROLLED_UP, "Animalia", "kingdom"): 2,
            Verdict(ABSTAINED): 4,
        }
    )
    progress = SurveyProgress(10, 0, 0, 2.0)
    result = SurveyResult({}, "cpu", Setting(1), progress, Counter(medusa=10), Counter(), Counter(), verdicts)
    assert result.decisions == {"accepted": 3, "rolled_up": 3, "abstained": 4, "unknown": 0}
    assert result.accepted == {"medusa": 3}
    assert result.rolled_up == [("Animalia", "kingdom", 2), ("Cnidaria", "phylum", 1)]
    assert str(progress) == "10 images in 2.0 s, 5 images/s, 0 failed, 0 before"


def test_the_command_that_resumes_is_quoted_for_a_shell() -> None:
    paths = (Path("m.onnx"), [Path("my images"), Path("b.zip")], Path("out"))
    assert resume_command(*paths) == "pelagia classify m.onnx 'my images' b.zip --out out"
    assert resume_command(*paths, ["csv", "parquet"]).endswith(" --out out --format=csv,parquet")
    listing = ListingOptions("photo no", follow_links=True, all_ranks=True)
    assert resume_command(*paths, listing=listing).endswith("'--path-column=photo no' --follow-links --all-ranks")
