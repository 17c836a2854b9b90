# `pairjepa serve` of an index, and nothing else: no PyTorch, no Transformers. docs/scaling.md shows its use.
#
#     docker build --tag pairjepa .
#     docker run --rm --publish 127.0.0.1:8000:8000 --volume "$PWD/my.index:/index:ro" pairjepa
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /build
RUN python -m venv --without-pip /venv
COPY pyproject.toml constraints.txt ./
# What the extra `serve` asks for, less what only training and the making of graphs need.
RUN python - >requirements.txt <<'END'
import re, tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
unneeded = {"onnx", "onnx-ir", "onnxscript", "scipy", "torch", "transformers"}

def needed(requirements):
    for requirement in requirements:
        if extras := re.match(r"pairjepa\[(.+)\]", requirement):
            for extra in extras[1].split(","):
                yield from needed(project["optional-dependencies"][extra])
        elif re.match(r"[\w.-]+", requirement)[0] not in unneeded:
            yield requirement

print(*sorted({*needed(project["dependencies"]), *needed(["pairjepa[serve]"])}), sep="\n")
END
# More packages: s3fs, gcsfs or adlfs, for an index on object storage.
ARG EXTRA=
RUN pip --python /venv/bin/python install --no-cache-dir -c constraints.txt -r requirements.txt ${EXTRA}
COPY README.md LICENSE ./
COPY src src
RUN pip --python /venv/bin/python install --no-cache-dir --no-deps .

FROM python:${PYTHON}
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH
# Where the model of an index on object storage is kept.
ENV PAIRJEPA_CACHE=/tmp/pairjepa
# ONNX Runtime would send events home.
ENV ORT_DISABLE_TELEMETRY=1
# A number, so that whoever starts it can see that it is not root; no such user needs to be there.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1:8000', timeout=4); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
# Every address of the container; which of the machine lead there is said by --publish.
CMD ["pairjepa", "serve", "/index", "--host", "0.0.0.0"]
