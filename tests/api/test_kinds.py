import csv
import io
import zipfile

import httpx
import jsonschema
import msgspec

from solvers.decode import decode
from solvers.issues import has_errors
from solvers.registry import all_kinds


async def test_every_kind_is_listed(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/kinds")).json()
    assert [kind["name"] for kind in listed["items"]] == list(all_kinds())
    assert listed["next"] is None
    for kind in listed["items"]:
        for name, link in kind["links"].items():
            if name != "jobs":
                assert (await http.get(link)).status_code == 200, link


async def test_a_kind_has_schemas_that_its_example_fits(http: httpx.AsyncClient) -> None:
    for name in all_kinds():
        kind = (await http.get(f"/v1/kinds/{name}")).json()
        example = (await http.get(kind["links"]["example"])).json()
        jsonschema.Draft202012Validator.check_schema(kind["solution_schema"])
        jsonschema.validate(example["problem"], kind["problem_schema"], jsonschema.Draft202012Validator)


async def test_an_example_is_accepted_as_it_is(http: httpx.AsyncClient) -> None:
    for name in all_kinds():
        example = (await http.get(f"/v1/kinds/{name}/example")).json()
        answer = await http.post(f"/v1/{name}/jobs?validate_only=true", json=example)
        assert answer.status_code == 200
        assert not [issue for issue in answer.json()["issues"] if issue["severity"] == "error"], name


async def test_templates_are_tables_with_example_rows(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/kinds/deal-picker/template.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="deal-picker.csv"'
    header, *rows = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert {"id", "name", "price", "yield", "sector", "city"} <= set(header)
    assert len(rows) == 2
    answer = await http.get("/v1/kinds/deal-picker/template.xlsx")
    assert "xl/workbook.xml" in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()


async def test_a_filled_template_is_accepted(http: httpx.AsyncClient) -> None:
    for ending in ("csv", "xlsx"):
        table = (await http.get(f"/v1/kinds/deal-picker/template.{ending}")).content
        files = {"job": (None, msgspec.json.encode({"problem": {"budget": 1e6}})), "rows": (f"deals.{ending}", table)}
        answer = await http.post("/v1/deal-picker/jobs", files=files)
        assert answer.status_code == 202, answer.text


async def test_an_unknown_kind_is_not_found(http: httpx.AsyncClient) -> None:
    for part in ("", "/example", "/template.csv", "/template.xlsx"):
        answer = await http.get(f"/v1/kinds/tea-leaves{part}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
        assert "Did you mean" not in answer.json()["detail"]
    misspelt = await http.post("/v1/deal-piker/jobs", json={})
    assert misspelt.json()["detail"].endswith("Did you mean `deal-picker`?")


def test_every_example_decodes_and_checks() -> None:
    for kind in all_kinds().values():
        decoded = decode(msgspec.json.encode(kind.example["problem"]), kind.problem)
        assert decoded.value is not None, decoded.issues
        assert not has_errors(kind.check(decoded.value))
