# syntax=docker/dockerfile:1
# An image with the server and nothing else: no shell, no package manager, and a user without rights.
#
#   docker build --tag throng --build-arg BUILD_COMMIT="$(git rev-parse --short=12 HEAD)" .
#
# docs/install.md says how to run it. tests/image.sh makes its stages by hand, where no container engine runs.

FROM rust:1.95-bookworm AS build
WORKDIR /throng
COPY . .
# The commit that `throng --version` names. There is no checkout here to ask.
ARG BUILD_COMMIT
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/throng/target \
    cargo build --locked --profile dist --bin throng \
    && install -D target/dist/throng /out/usr/bin/throng \
    && install -d /out/var/lib/throng

# It has glibc, libgcc and the certificates of authorities. Its user is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/usr/bin/throng /usr/bin/throng
# A volume here takes the owner over. The folder of history.dir and webhooks.dir belongs into it.
COPY --from=build --chown=65532:65532 /out/var/lib/throng /var/lib/throng
# All addresses of the container. The port is published, or it is not.
ENV THRONG_LISTEN=:8080
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --start-interval=1s CMD ["/usr/bin/throng", "health"]
ENTRYPOINT ["/usr/bin/throng"]
