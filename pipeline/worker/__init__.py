"""The one loop that drives the engine with threads: reads bells, runs batches, commits offsets."""

from pipeline.worker.batch_run import WAIT_S_MAX
from pipeline.worker.bells import bell_for, topics_for
from pipeline.worker.loop import TargetWorker
from pipeline.worker.observer import Observer

__all__ = ["WAIT_S_MAX", "Observer", "TargetWorker", "bell_for", "topics_for"]
