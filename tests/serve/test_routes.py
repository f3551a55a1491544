"""Pictures in, pictures out: what each route does, and what it says of what it does not do."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import srgan_trt.serve
from srgan_trt.imaging.encode import DEFAULT_QUALITY
from srgan_trt.serve.app import ROUTES
from srgan_trt.serve.options import MEDIA_TYPES
from srgan_trt.serve.refusal import CODES
from srgan_trt.upscaler import Upscaler

from .service import NEAREST, Service, pixels, png, service

UPSCALE = "/v1/upscale"


def enlarged(content: bytes) -> Any:
    return pixels(content).repeat(2, axis=0).repeat(2, axis=1)


def refused(answer: Any) -> tuple[int, str]:
    facts = answer.json()
    assert set(facts) == {"error", "code"}
    assert CODES[facts["code"]] == answer.status_code
    return answer.status_code, facts["code"]


class TestPictures:
    def test_a_raw_body_comes_back_larger(self, served: Service) -> None:
        answer = served.post(UPSCALE, png())
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "image/png"
        assert 'filename="picture_x2.png"' in answer.headers["Content-Disposition"]
        assert [part.split(";")[0] for part in answer.headers["Server-Timing"].split(", ")] == [
            "read",
            "network",
            "write",
        ]
        assert np.array_equal(pixels(answer.content), enlarged(png()))

    def test_whatever_the_body_says_that_it_is(self, served: Service) -> None:
        """curl --data-binary says that it is a form."""
        for kind in ("application/x-www-form-urlencoded", "image/png", "text/plain", "application/octet-stream"):
            assert served.post(UPSCALE, png(), headers={"Content-Type": kind}).status_code == 200

    def test_multipart_with_options_in_fields(self, served: Service) -> None:
        files = {"file": ("../../etc/passwd", png(), "image/png")}
        answer = served.post(UPSCALE, {"model": NEAREST, "format": "tiff"}, files=files)
        assert answer.headers["Content-Type"] == "image/tiff"
        assert np.array_equal(pixels(answer.content), enlarged(png()))

    @pytest.mark.parametrize("format", ["png", "jpg", "webp", "tiff", "avif"])
    def test_every_format_that_pillow_reads(self, served: Service, format: str) -> None:
        answer = served.post(f"{UPSCALE}?format={format}", png())
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.format == {"jpg": "JPEG"}.get(format, format.upper())
            assert image.size == (34, 24)

    @pytest.mark.parametrize("format", ["avif", "jxl"])
    def test_the_newest_formats_by_ffmpeg(self, served: Service, format: str, tmp_path: Path) -> None:
        picture = Image.fromarray(np.linspace(0, 255, 60 * 40 * 3).astype(np.uint8).reshape(40, 60, 3))
        file = io.BytesIO()
        picture.save(file, "PNG")
        answer = served.post(f"{UPSCALE}?format={format}", file.getvalue())
        assert answer.headers["Content-Type"] == f"image/{format}"
        assert f'filename="picture_x2.{format}"' in answer.headers["Content-Disposition"]
        (tmp_path / f"picture.{format}").write_bytes(answer.content)
        read = f"ffmpeg -v error -i picture.{format} -f rawvideo -pix_fmt rgb24 -"
        try:
            levels = subprocess.run(read.split(), cwd=tmp_path, capture_output=True, check=True).stdout
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no ffmpeg that reads {format}: {error}")
        difference = np.frombuffer(levels, np.uint8).reshape(80, 120, 3) - enlarged(file.getvalue()).astype(float)
        assert 10 * np.log10(255**2 / np.mean(difference**2)) > 38

    @pytest.mark.parametrize("format", ["jpg", "webp", "avif", "jxl"])
    def test_quality_makes_files_smaller(self, served: Service, format: str) -> None:
        large, small = (served.post(f"{UPSCALE}?format={format}&quality={q}", png(60, 60)).content for q in (95, 10))
        assert len(small) < len(large) / 2

    def test_transparency_and_16_bits_are_kept(self, served: Service) -> None:
        file = io.BytesIO()
        Image.fromarray(np.full((4, 5, 4), 77, np.uint8)).save(file, "PNG")
        assert pixels(served.post(UPSCALE, file.getvalue()).content).shape == (8, 10, 4)
        file = io.BytesIO()
        Image.fromarray(np.full((4, 5), 30_000, np.uint16)).save(file, "PNG")
        assert pixels(served.post(UPSCALE, file.getvalue()).content).max() == 30_000

    def test_notes_are_told(self, served: Service) -> None:
        file = io.BytesIO()
        Image.new("CMYK", (5, 4)).save(file, "JPEG")
        answer = served.post(UPSCALE, file.getvalue())
        assert "CMYK was converted to RGB" in answer.headers["X-Srgan-Notes"]


class TestSizes:
    """As `upscale --scale`, `--width` and `--height` make them."""

    @pytest.mark.parametrize(
        ("asked", "size", "label"),
        [
            ("scale=1.5", (26, 18), "x1.5"),
            ("scale=4", (68, 48), "x4"),
            ("width=51", (51, 36), "w51"),
            ("height=6", (9, 6), "h6"),
            ("width=100&height=24", (34, 24), "fit100x24"),
        ],
    )
    def test_the_result_is_as_large_as_asked_for(
        self, served: Service, asked: str, size: tuple[int, int], label: str
    ) -> None:
        answer = served.post(f"{UPSCALE}?{asked}", png())
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.size == size
        assert f'filename="picture_{label}.png"' in answer.headers["Content-Disposition"]
        job = served.post(f"/v1/jobs?{asked}", png()).json()
        assert (job["size"], job["width"], job["height"]) == (label, 17, 12)

    def test_the_reduction_is_that_of_the_package(self, served: Service, nearest: Path) -> None:
        with Upscaler(nearest, denoise="off") as up:
            expected = up(pixels(png()), scale=1.5)
        assert np.array_equal(pixels(served.post(f"{UPSCALE}?scale=1.5", png()).content), expected)

    @pytest.mark.parametrize(
        ("asked", "why"),
        [
            ("scale=5", "times its 17 x 12, the network makes x2 and, run twice, x4"),
            ("scale=0.5", "give one from 1 to 16"),
            ("scale=1e1", "scale is a number"),
            ("scale=nan", "scale is a number"),
            ("width=0", "width is a whole number"),
            ("height=-3", "height is a whole number"),
            ("width=100000", "of at most 5 digits"),
            ("scale=2&width=30", "give scale, or the width or height, not both"),
            ("texture=0.5", "nearest has no texture to choose"),
            ("texture=0.3", "texture is one of 0, 0.25, 0.5, 0.75, 1"),
        ],
    )
    def test_what_cannot_be_had_is_told_before_the_work(self, served: Service, asked: str, why: str) -> None:
        answer = served.post(f"{UPSCALE}?{asked}", png())
        assert refused(answer) == (422, "bad_option")
        assert why in answer.json()["error"]

    def test_what_no_file_of_the_format_holds_is_told_before_the_work(self, served: Service) -> None:
        answer = served.post(f"{UPSCALE}?format=webp", png(1, 8192))
        assert refused(answer) == (422, "bad_option")
        assert "a webp file holds at most 16,383 pixels a side, not 16,384 x 2" in answer.json()["error"]
        assert served.post(f"{UPSCALE}?format=webp&width=16383", png(1, 8192)).status_code == 200


class TestTexture:
    def test_between_a_model_and_its_gan(self, tmp_path: Path) -> None:
        """Built when it is first asked for; what it gives is what the package gives."""
        with service("--model", "srresnet-photo-x4", "--queue", "2") as running:
            facts = running.get("/v1/models").json()
            assert [model["texture"] for model in facts["models"]] == [0]
            assert facts["textures"] == [0, 0.25, 0.5, 0.75, 1]
            with Upscaler("srresnet-photo-x4", texture=0.5) as up:
                expected = up(pixels(png()))
            for _ in range(2):
                answer = running.post(f"{UPSCALE}?texture=0.5&denoise=off", png())
                assert np.array_equal(pixels(answer.content), expected)
            assert not np.array_equal(pixels(running.post(UPSCALE, png()).content), expected)


class TestJobs:
    def test_a_job_tells_how_far_it_is_and_keeps_its_result(self, served: Service) -> None:
        answer = served.post("/v1/jobs", png())
        assert answer.status_code == 202
        name = answer.json()["id"]
        assert answer.headers["Location"] == f"/v1/jobs/{name}"
        told = list(served.events(name))
        assert told[-1]["state"] == "done"
        assert (told[-1]["result"]["width"], told[-1]["result"]["height"]) == (34, 24)
        assert served.get(f"/v1/jobs/{name}").json() == told[-1]
        for _ in range(2):
            result = served.get(f"/v1/jobs/{name}/result")
            assert np.array_equal(pixels(result.content), enlarged(png()))

    def test_a_job_that_is_deleted_is_forgotten(self, served: Service) -> None:
        before = served.metric("srgan_trt_kept_bytes")
        name = served.post("/v1/jobs", png()).json()["id"]
        list(served.events(name))
        assert served.metric("srgan_trt_kept_bytes") > before
        assert served.delete(f"/v1/jobs/{name}").status_code == 204
        for path in ("", "/events", "/result"):
            assert refused(served.get(f"/v1/jobs/{name}{path}")) == (404, "no_job")
        assert served.metric("srgan_trt_kept_bytes") == before

    def test_a_damaged_picture_fails_as_a_job(self, served: Service) -> None:
        name = served.post("/v1/jobs", png(50, 50)[:600]).json()["id"]
        last = list(served.events(name))[-1]
        assert (last["state"], last["code"]) == ("failed", "bad_picture")
        assert "damaged or cut off" in last["error"]
        assert refused(served.get(f"/v1/jobs/{name}/result")) == (400, "bad_picture")


class TestRefusals:
    def test_what_is_no_picture(self, served: Service) -> None:
        assert refused(served.post(UPSCALE, b"")) == (400, "bad_picture")
        assert refused(served.post(UPSCALE, png(50, 50)[:600])) == (400, "bad_picture")
        for content in (b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4", b"%!PS-Adobe", bytes(100)):
            assert refused(served.post(UPSCALE, content)) == (415, "unknown_format")

    def test_too_many_bytes_declared_or_not(self, served: Service) -> None:
        large = bytes(300 << 10)
        assert refused(served.post(UPSCALE, large)) == (413, "too_many_bytes")
        assert refused(served.post(UPSCALE, (large[:1000] for _ in range(400)))) == (413, "too_many_bytes")
        assert refused(served.post(UPSCALE, files={"file": large})) == (413, "too_many_bytes")

    def test_too_many_pixels_whatever_the_bytes(self, served: Service) -> None:
        assert refused(served.post(UPSCALE, png(201, 200))) == (413, "too_many_pixels")
        assert served.post(UPSCALE, png(200, 200)).status_code == 200

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("model=other", 404),
            ("model=../../etc/passwd", 404),
            ("model=http://127.0.0.1/", 404),
            ("format=gif", 422),
            ("format=jpg&quality=0", 422),
            ("format=jpg&quality=101", 422),
            ("format=jpg&quality=ten", 422),
            ("quality=50", 422),
            ("denoise=9", 422),
            ("denoise=much", 422),
            ("exact=1", 422),
            ("url=http://127.0.0.1/", 422),
            ("format=png&format=jpg", 422),
        ],
    )
    def test_options_that_there_are_not(self, served: Service, query: str, status: int) -> None:
        assert refused(served.post(f"{UPSCALE}?{query}", png()))[0] == status

    def test_multipart_that_is_not(self, served: Service) -> None:
        kind = {"Content-Type": "multipart/form-data"}
        assert refused(served.post(UPSCALE, png(), headers=kind)) == (400, "bad_request")
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        assert refused(served.post(UPSCALE, png(), headers=kind)) == (400, "bad_request")
        assert refused(served.post(UPSCALE, files={"other": png()})) == (400, "bad_request")
        assert refused(served.post(UPSCALE, {"format": "x" * 500}, files={"file": png()})) == (400, "bad_request")
        two = [("file", png()), ("file", png())]
        assert refused(served.post(UPSCALE, files=two)) == (400, "bad_request")

    def test_a_compressed_body(self, served: Service) -> None:
        answer = served.post(UPSCALE, png(), headers={"Content-Encoding": "gzip"})
        assert refused(answer) == (415, "encoded")

    def test_other_paths_and_methods(self, served: Service) -> None:
        for path in ("/nothing", "/v1/", "/v1/upscale/", "/page/../app.py", "/page/%2e%2e%2fapp.py", "/page/app.py"):
            assert refused(served.get(path)) == (404, "not_found"), path
        assert refused(served.get(UPSCALE)) == (405, "wrong_method")
        assert refused(served.post("/v1/models")) == (405, "wrong_method")
        allowed = served.post("/v1/jobs/some").headers["Allow"]
        assert {name.strip() for name in allowed.split(",")} == {"GET", "HEAD", "DELETE"}


class TestFacts:
    def test_models_formats_and_limits(self, served: Service) -> None:
        facts = served.get("/v1/models").json()
        assert [(model["name"], model["scale"], model["default"]) for model in facts["models"]] == [(NEAREST, 2, True)]
        assert facts["formats"] == ["png", "jpg", "webp", "tiff", "avif", "jxl"]
        assert facts["quality"] == {"jpg": 95, "webp": 90, "avif": 85, "jxl": 95}
        assert facts["denoise"][:2] == ["auto", "off"]
        assert facts["limits"] == {"bytes": 256 << 10, "pixels": 40_000}

    def test_formats_whose_encoder_is_not_there(self, nearest: Path, tmp_path: Path) -> None:
        """As in a Pillow or an imagecodecs that was built without its library."""
        lines = ["import sys", "for name in ('PIL._avif', 'imagecodecs._jpegxl'):", "    sys.modules[name] = None"]
        (tmp_path / "sitecustomize.py").write_text("\n".join(lines))
        path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
        with service("--model", nearest, environment={"PYTHONPATH": path}) as running:
            facts = running.get("/v1/models").json()
            assert (facts["formats"], list(facts["quality"])) == (["png", "jpg", "webp", "tiff"], ["jpg", "webp"])
            for format, package in (("avif", "Pillow"), ("jxl", "imagecodecs")):
                answer = running.post(f"{UPSCALE}?format={format}&quality=80", png())
                assert refused(answer) == (422, "bad_option")
                assert f"{package} here was built without {format}" in answer.json()["error"]

    def test_health_and_readiness(self, served: Service) -> None:
        assert served.get("/healthz").json() == {"alive": True}
        assert served.get("/readyz").json() == {"ready": True, "models": [NEAREST]}

    def test_metrics_count(self, served: Service) -> None:
        done = f'srgan_trt_pictures_total{{model="{NEAREST}",state="done"}}'
        before = served.metric(done)
        served.post(UPSCALE, png())
        served.post("/v1/upscale?model=" + "x" * 50, png())
        assert served.metric(done) == before + 1
        text = served.get("/metrics").text
        assert 'srgan_trt_requests_total{method="POST",route="upscale",status="200"}' in text
        assert "xxx" not in text
        assert served.metric("srgan_trt_resident_bytes") > 1e7
        names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
        used = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
        for ending in ("_bucket", "_sum", "_count"):
            used = {name.removesuffix(ending) for name in used}
        assert used <= names


class TestDocument:
    def test_it_tells_of_every_route_and_of_no_other(self, served: Service) -> None:
        document = served.get("/openapi.json").json()
        methods = ("get", "post", "delete")
        told = {(m.upper(), path) for path, paths in document["paths"].items() for m in paths if m in methods}
        assert told == {(method, path) for method, path, _ in ROUTES}

    @pytest.mark.full
    def test_schemathesis_finds_nothing(self, served: Service, tmp_path: Path) -> None:
        """But that bytes at random are not picture, and names at random no model."""
        pytest.importorskip("schemathesis", reason='pip install ".[dev]"')
        options = ["--max-examples", "10", "--exclude-checks", "positive_data_acceptance", "--no-color"]
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout

    def test_it_tells_of_every_format(self, served: Service) -> None:
        document = served.get("/openapi.json").json()
        for path in ("/v1/upscale", "/v1/jobs"):
            route = document["paths"][path]["post"]
            form = route["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
            query = {each["name"]: each for each in route["parameters"]}
            for schema in (form["format"], query["format"]["schema"]):
                assert schema["enum"] == list(MEDIA_TYPES)
            for format, quality in DEFAULT_QUALITY.items():
                assert f"{format} (default {quality})" in query["quality"]["description"]
        for path, method in (("/v1/upscale", "post"), ("/v1/jobs/{job}/result", "get")):
            assert list(document["paths"][path][method]["responses"]["200"]["content"]) == list(MEDIA_TYPES.values())

    def test_it_tells_of_every_code(self, served: Service) -> None:
        document = served.get("/openapi.json").json()
        schema = document["components"]["schemas"]["Error"]["properties"]["code"]
        assert sorted(schema["enum"]) == sorted(CODES)

    def test_what_it_refers_to_is_there(self) -> None:
        path = Path(srgan_trt.serve.__file__).parent / "openapi.json"
        document = json.loads(path.read_text())

        def references(value: Any) -> list[str]:
            if isinstance(value, dict):
                found = [value["$ref"]] if "$ref" in value else []
                return found + [each for inner in value.values() for each in references(inner)]
            return [each for inner in value for each in references(inner)] if isinstance(value, list) else []

        for reference in references(document):
            place = document
            for part in reference.removeprefix("#/").split("/"):
                place = place[part]
