# What this software needs, from pinned versions; the checkout is mounted (docs/machines.md):
#   docker build -t asm-fer . && docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/asm" asm-fer
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git make python3-venv && rm -rf /var/lib/apt/lists/*
ENV LANG=C.UTF-8 HOME=/tmp USER=asm VIRTUAL_ENV=/opt/asm PATH=/opt/asm/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY constraints.txt pyproject.toml README.md LICENSE params.yaml /source/
COPY asm /source/asm
RUN python3 -m venv /opt/asm && pip install --no-cache-dir --constraint /source/constraints.txt "/source[dev,faces]"
WORKDIR /asm
CMD ["make", "repro", "PROFILE=smoke"]
