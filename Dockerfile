# srgan-trt on the CPU, as a command:
#   docker build -t srgan-trt .
#   docker run --rm -v "$PWD:/pictures" --user "$(id -u):$(id -g)" srgan-trt upscale photo.jpg -o photo_x4.png
#   docker run --rm -p 7000:7000 -e SRGAN_TRT_TOKEN srgan-trt serve --host 0.0.0.0
# Linted by hadolint; not built where it was written.
FROM python:3.12-slim AS build
# hadolint ignore=DL3008 # the compiler's version is Debian's, and it stays in this stage
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /
# The import fails if the C++ extension was not compiled, which pip does not mind.
RUN python -m venv /srgan-trt \
    && /srgan-trt/bin/pip install --no-cache-dir -c /source/constraints.txt "/source[serve]" \
    && /srgan-trt/bin/python -c "import srgan_trt._pixels" \
    && /srgan-trt/bin/pip uninstall -y pip

FROM python:3.12-slim
COPY --from=build /srgan-trt /srgan-trt
# Any user may write the cache, so that --user works.
RUN useradd --create-home --uid 1000 srgan && install -d -m 1777 /cache /pictures
ENV PATH=/srgan-trt/bin:$PATH PYTHONUNBUFFERED=1 SRGAN_TRT_CACHE=/cache
USER 1000
WORKDIR /pictures
VOLUME ["/cache"]
EXPOSE 7000
ENTRYPOINT ["srgan-trt"]
CMD ["--help"]
