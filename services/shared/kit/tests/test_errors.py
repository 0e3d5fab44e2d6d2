import json

from crewmesh_kit.errors import Conflict, InternalError, Problem, RemoteProblem, TooManyRequests, Unauthenticated


def test_a_problem_becomes_a_document() -> None:
    problem = TooManyRequests("Wait a minute.", headers={"Retry-After": "60"}, limit=10)
    assert problem.document(instance="/v1/runs", trace_id="ab" * 16) == {
        "type": "https://crewmesh.dev/problems/too-many-requests",
        "title": "Too many requests",
        "status": 429,
        "detail": "Wait a minute.",
        "retryable": True,
        "instance": "/v1/runs",
        "trace_id": "ab" * 16,
        "limit": 10,
    }


def test_an_extension_cannot_pose_as_a_standard_member() -> None:
    assert Conflict("no", status=200, type="x").document()["status"] == 409


def test_unauthenticated_names_the_scheme() -> None:
    assert Unauthenticated("who?").headers == {"WWW-Authenticate": "Bearer"}


def test_every_type_has_its_own_consequences() -> None:
    kinds = [kind for kind in Problem.__subclasses__() if kind.__module__ == "crewmesh_kit.errors"]
    assert all(kind.__doc__ and 400 <= kind.status < 600 and kind.slug and kind.title for kind in kinds)
    slugs = [kind.slug for kind in kinds if kind not in (RemoteProblem, InternalError)]
    assert len(slugs) == len(set(slugs))


def test_a_remote_problem_is_passed_on_as_it_was_told() -> None:
    told = TooManyRequests("Wait.", limit=3).document(instance="/internal/x", trace_id="00" * 16)
    problem = RemoteProblem.from_answer(
        app="knowledge", status=429, body=json.dumps(told).encode(), headers={"Retry-After": "7", "Server": "x"}
    )
    assert (problem.status, problem.slug, problem.retryable) == (429, "too-many-requests", True)
    assert problem.headers == {"Retry-After": "7"}
    passed_on = problem.document(instance="/v1/search", trace_id="11" * 16)
    assert passed_on == {**told, "instance": "/v1/search", "trace_id": "11" * 16}


def test_an_answer_that_is_no_problem_document_becomes_one() -> None:
    for body in (b"", b"<html>", b"[1]", b"\xff"):
        problem = RemoteProblem.from_answer(app="knowledge", status=503, body=body, headers={})
        assert (problem.status, problem.slug, problem.retryable) == (503, "upstream-failed", True)
        assert problem.detail == "knowledge answered with status 503"


def test_the_consequences_of_one_remote_problem_are_its_own() -> None:
    RemoteProblem.from_answer(app="a", status=404, body=b"", headers={})
    assert Problem.status == 500
    assert RemoteProblem.status == 500
