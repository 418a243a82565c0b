"""`pelagia classify`: images and a model in, a survey folder out. An interrupted run can be resumed.

Invariant: what is in the journal is done and is not done again; everything else is still to do. The CSV is written from
the journal at the end, so it is the same whether or not the run was interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pelagia.model.decision import ACCEPTED, DECISIONS, ROLLED_UP, Verdict
from pelagia.model.metadata import ModelFile
from pelagia.shell import command_line
from pelagia.sources import Listing, ListingOptions, left_out_lines, list_images
from pelagia.survey.additions import add_empty_samples
from pelagia.survey.journal import Survey
from pelagia.system.paths import StrPath, paths_of
from pelagia_inference.exports.results import CSV, formats_to_write, held_open, write_results
from pelagia_inference.exports.vectors import EMBEDDINGS, embeddings_wanted, write_survey_embeddings
from pelagia_inference.machine.providers import AUTO
from pelagia_inference.machine.setting import Setting
from pelagia_inference.survey.pipeline import predict_with
from pelagia_inference.survey.plan import SurveyPlan, plan_survey
from pelagia_inference.survey.progress import JournalWriter, SurveyProgress
from pelagia_inference.survey.survey_log import SurveyLog, survey_log
from pelagia_inference.workers.pool import WorkerPool


@dataclass(frozen=True)
class SurveyResult:
    """The result of a completed run.

    Attributes:
        files: the files with the results, by their format.
        provider: the provider that computed the network, a key of `pelagia_inference.machine.providers.PROVIDERS`.
        setting: the setting that was used.
        progress: the final progress of this run.
        counts: number of images of the survey, earlier runs included, by their most likely class.
        failures: number of failed images of the survey, earlier runs included, by reason.
        left_out: number of things in the inputs that are not listed as images, by a key of `Listing.left_out`.
        verdicts: number of images of the survey, earlier runs included, by verdict; empty without a decision rule.
        warnings: what was assumed while the inputs were listed, and the remarks on images of the survey, earlier runs
            included, one sentence each.
    """

    files: Mapping[str, Path]
    provider: str
    setting: Setting
    progress: SurveyProgress
    counts: Counter[str]
    failures: Counter[str]
    left_out: Counter[str]
    verdicts: Counter[Verdict]
    warnings: Sequence[str] = ()

    @property
    def csv(self) -> Path:
        """The file ``predictions.csv``. Raises KeyError if only another format was written."""
        return self.files[CSV]

    @property
    def decisions(self) -> dict[str, int]:
        """Number of images of the survey by decision."""
        counts = dict.fromkeys(DECISIONS, 0)
        for verdict, count in self.verdicts.items():
            counts[verdict.decision] += count
        return counts

    @property
    def accepted(self) -> Counter[str]:
        """Number of images whose class was accepted, by class."""
        return Counter({verdict.name: n for verdict, n in self.verdicts.items() if verdict.decision == ACCEPTED})

    @property
    def rolled_up(self) -> list[tuple[str, str, int]]:
        """Name, rank and number of images of each taxon that images were rolled up to, the most frequent first."""
        verdicts = self.verdicts.most_common()
        return [(verdict.name, verdict.rank, n) for verdict, n in verdicts if verdict.decision == ROLLED_UP]


def classify(
    model: ModelFile,
    inputs: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    setting: Setting | None = None,
    provider: str = AUTO,
    formats: Sequence[str] = (CSV,),
    retry_failed: bool = False,
    embeddings: bool = False,
    listing: ListingOptions = ListingOptions(),
    progress: Callable[[SurveyProgress], None] = lambda progress: None,
    note: Callable[[str], None] = lambda text: None,
) -> SurveyResult:
    """Classifies the images of ``inputs`` into the survey folder ``out``, or resumes the survey in it.

    Args:
        inputs: what `list_images` takes.
        setting: None, or a 0 in it, means: the value of the survey; in a new survey, the value that `bench --apply`
            stored, else the default.
        provider: a key of `PROVIDERS`; `AUTO`: the provider of the survey; in a new survey, as `choose_provider`.
        formats: keys of `FILES`. Results in other formats that are in ``out`` already are written again as well.
        retry_failed: whether images that failed before are classified again.
        embeddings: whether ``embeddings.parquet`` is written too. A survey that has embeddings gets those of new images
            in any case; in a survey without them, the images that are done are computed again.
        listing: what decides how images are listed.
        progress: a function that is called after each list of images.
        note: a function that is called with each warning, before the images are classified.

    Raises:
        InputError: an input is wrong, the provider does not start, or a package for a format is not installed.
        ModelError: the provider's results differ from those in the model; or it has no embedding, but one is asked for.
        SurveyError: ``out`` belongs to another model or to other images, is in use, or cannot be written.
    """
    out = Path(out)
    formats = formats_to_write(out, formats)
    plan = plan_survey(model, paths_of(inputs), out, setting, provider, note, listing)
    embeddings = embeddings_wanted(model, out, embeddings)
    with WorkerPool(model, plan.provider, plan.setting, embedding=embeddings) as pool:
        plan.require_images()
        pool.ready()
        with plan.open_survey() as survey, survey_log(out, plan.facts, plan.warnings) as log:
            plan.require_same_images(survey)
            survey.forget_transient()
            if embeddings:
                survey.keep_embeddings()
            writer = JournalWriter(survey, retry_failed, _report_and_log(progress, log))
            return _run(plan, pool, survey, writer, formats, log)


def _run(
    plan: SurveyPlan,
    pool: WorkerPool,
    survey: Survey,
    writer: JournalWriter,
    formats: Sequence[str],
    log: SurveyLog,
) -> SurveyResult:
    listing = Listing(plan.listing)
    images = list_images(plan.inputs, listing)
    decider = plan.model.metadata.decider
    at = writer.write_all(predict_with(pool, images, plan.setting, skip=writer.todo, decider=decider))
    add_empty_samples(survey, listing.empty_samples)
    pool.close()  # writing the results needs memory but no worker
    counts, failures = survey.counts_by_class(), survey.counts_by_reason()
    files = write_results(survey, formats)
    reasons = ", ".join(f"{reason} {count}" for reason, count in failures.items()) or "none"
    for line in left_out_lines(listing.left_out):
        log.info(line)
    log.info(f"done: {at}; in total {counts.total()} classified, failed: {reasons}")
    warnings = (*listing.warning_texts(), *survey.remarks().warnings(), *held_open(files))
    if survey.keeps_embeddings:
        files[EMBEDDINGS], missing = write_survey_embeddings(survey)
        warnings = (*warnings, *missing)
    for text in warnings:
        log.warning(text)
    verdicts = survey.counts_by_verdict()
    return SurveyResult(files, plan.provider, plan.setting, at, counts, failures, listing.left_out, verdicts, warnings)


def _report_and_log(progress: Callable[[SurveyProgress], None], log: SurveyLog) -> Callable[[SurveyProgress], None]:
    def report(at: SurveyProgress) -> None:
        progress(at)
        log.every_minute(lambda: str(at))

    return report


def resume_command(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    formats: Sequence[str] = (CSV,),
    *,
    listing: ListingOptions = ListingOptions(),
    embeddings: bool = False,
) -> str:
    """The command that resumes a survey, quoted for a shell. The survey stores its other settings itself."""
    words = ["pelagia", "classify", str(model), *map(str, inputs), "--out", str(out)]
    words += [f"--path-column={listing.path_column}"] if listing.path_column else []
    words += ["--embeddings"] * embeddings
    words += ["--follow-links"] * listing.follow_links + ["--all-ranks"] * listing.all_ranks
    return command_line(*words, *([] if list(formats) == [CSV] else [f"--format={','.join(formats)}"]))
