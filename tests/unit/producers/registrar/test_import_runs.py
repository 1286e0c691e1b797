"""Past imports: those of files apart from those of the single persons that programs send."""

from __future__ import annotations

from sqlalchemy import event

from producers.registrar.import_runs import SqlImports
from sesame.testing.servers.registrar_kit import Registrar


def test_persons_whom_programs_send_are_listed_apart_from_files(stored_registrar: Registrar) -> None:
    memory = SqlImports(stored_registrar.database)
    for place in range(7):
        memory.begin("api" if place % 3 else "apogee", file_name="x", started_at=100.0 * place)

    def ids(*, persons: bool | None, before: int | None = None, limit: int = 9) -> list[int]:
        return [run.id for run in memory.past(before=before, limit=limit, persons=persons)]

    assert ids(persons=None) == [7, 6, 5, 4, 3, 2, 1]
    assert (ids(persons=False), ids(persons=False, before=7, limit=1)) == ([7, 4, 1], [4])
    assert (ids(persons=True), ids(persons=True, before=6, limit=2)) == ([6, 5, 3, 2], [5, 3])
    assert (memory.run_of(2**40), ids(persons=None, before=2**70)) == (None, ids(persons=None))
    assert [memory.persons_since(at) for at in (0.0, 200.0, 700.0)] == [4, 3, 0]


def test_each_list_is_read_by_an_index_of_its_own_and_nothing_is_sorted(registrar: Registrar) -> None:
    memory, engine = SqlImports(registrar.database), registrar.database.engine
    plans: list[str] = []

    def explain(_connection: object, cursor: object, statement: str, given: object, *_more: object) -> None:
        rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", given)  # type: ignore[attr-defined]
        plans.append(" ".join(row[3] for row in rows if "imports" in statement))

    event.listen(engine, "before_cursor_execute", explain)
    memory.past(before=None, limit=20, persons=False)
    memory.past(before=99, limit=20, persons=True)
    memory.persons_since(1.0)
    memory.begin("api", file_name="x", started_at=1.0)
    event.remove(engine, "before_cursor_execute", explain)
    files, persons, count, *begun = filter(None, plans)
    assert "ix_imports_files" in files
    assert "ix_imports_source_id" in persons
    assert "ix_imports_source_id" in count
    assert "ix_imports_going_on" in begun[-1]
    assert "TEMP B-TREE" not in " ".join(plans)
