"""What the mesh does for its clients it does through the edge: the same journeys, by Kong's routes and sidecar."""

from __future__ import annotations

import pytest

from tests.mesh.test_bad_input import (
    BAD,
    Bad,
    test_no_path_leads_around_the_door,
    test_without_a_valid_key_nothing_is_answered,
)
from tests.mesh.test_bad_input import test_bad_input_is_answered_with_what_to_do as is_answered_with_what_to_do
from tests.mesh.test_the_one_path import (
    test_a_producer_on_the_topic_starts_a_run_too,
    test_a_stream_resumes_where_it_was_left,
    test_an_event_becomes_an_answer_at_a_webhook,
    test_one_trace_runs_from_the_request_to_the_effects,
    test_the_same_event_twice_is_one_run,
    test_without_a_callback_the_delivery_is_skipped,
)
from tests.mesh.test_webhooks import (
    test_a_signature_survives_the_way,
    test_an_address_that_was_made_up_is_a_problem,
    test_basic_authentication_passes_and_chooses_no_callee,
    test_every_method_and_its_query_arrive,
)

from .conftest import MeshBehindTheEdge

__all__ = [
    "test_a_producer_on_the_topic_starts_a_run_too",
    "test_a_signature_survives_the_way",
    "test_a_stream_resumes_where_it_was_left",
    "test_an_address_that_was_made_up_is_a_problem",
    "test_an_event_becomes_an_answer_at_a_webhook",
    "test_basic_authentication_passes_and_chooses_no_callee",
    "test_every_method_and_its_query_arrive",
    "test_no_path_leads_around_the_door",
    "test_one_trace_runs_from_the_request_to_the_effects",
    "test_the_same_event_twice_is_one_run",
    "test_without_a_callback_the_delivery_is_skipped",
    "test_without_a_valid_key_nothing_is_answered",
]

# What is too large ends at the edge, before there is a trace to name.
REACHING_THE_MESH = [bad for bad in BAD if bad.name != "10 MB"]


@pytest.mark.parametrize("bad", REACHING_THE_MESH, ids=lambda bad: bad.name)
async def test_bad_input(mesh: MeshBehindTheEdge, bad: Bad) -> None:
    await is_answered_with_what_to_do(mesh, bad)
