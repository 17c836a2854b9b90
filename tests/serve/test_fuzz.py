"""The API against requests that are drawn from its own OpenAPI document, those that fit it and those that do not."""

import io

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.specs.openapi.checks import negative_data_rejection

OPERATIONS = [
    ("GET", "/api/search"),
    ("POST", "/api/search"),
    ("GET", "/api/similar/{id}"),
    ("POST", "/api/label"),
    ("GET", "/api/label/{id}"),
    ("GET", "/api/images"),
    ("GET", "/api/images/{id}"),
    ("GET", "/api/images/{id}/original"),
    ("GET", "/healthz"),
]


def _picture(width: int, height: int, kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, kind)
    return file.getvalue()


PICTURES = st.builds(
    _picture, st.integers(1, 40), st.integers(1, 40), st.sampled_from(["PNG", "JPEG", "WEBP"])
)
NAMES = st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=2, max_size=6, unique=True).map(
    ",".join
)

# what no schema can say: a picture, a condition, labels that differ, words other than the query
schemathesis.openapi.format("picture", PICTURES)
schemathesis.openapi.format("condition", st.sampled_from(["split = 'test'", "width > 3 AND name != 'a'"]))
schemathesis.openapi.format("labels", NAMES)
schemathesis.openapi.format("minus", st.sampled_from(["in the snow", "at night"]))


# In a form all is text, so that a list sent for a label is one too; and the fuzzer takes words beside an image for
# needed. Bad forms are in test_api.py; here they must only not break anything.
FORM_CHECKS = [negative_data_rejection]


def test_all_operations_are_here(url: str) -> None:
    paths = schemathesis.openapi.from_url(f"{url}/openapi.json").raw_schema["paths"]
    assert {(m.upper(), path) for path, operations in paths.items() for m in operations} == set(OPERATIONS)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_operation_keeps_its_word(
    url: str, method: str, path: str, mode: schemathesis.GenerationMode
) -> None:
    operation = schemathesis.openapi.from_url(f"{url}/openapi.json")[path][method]
    if mode.is_negative and (path == "/healthz" or "/images/{id}" in path):
        pytest.skip("takes whatever comes")

    @given(case=operation.as_strategy(mode))
    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def keeps_its_word(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=FORM_CHECKS if method == "POST" else [])

    keeps_its_word()
