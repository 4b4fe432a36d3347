# A small image: the binary, the C library, and the certificates of public authorities.
#
#   docker build -t scopegate .
#   docker run -p 8443:8443 -v ./gateway.yaml:/etc/scopegate/gateway.yaml:ro scopegate
#
# Inside a container the policy has to say `listen: 0.0.0.0:8443`, with `tls:` (`tls: off` if
# something in front of it ends TLS). The admin port stays on the container's own loopback, where
# the health check finds it, unless the policy gives it another address.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# No system AWS-LC is picked up: the same sources give the same binary.
ENV AWS_LC_SYS_USE_SYSTEM=0
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/scopegate /scopegate

# No shell and no package manager; glibc, libgcc and CA certificates are there.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /scopegate /usr/local/bin/scopegate
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/scopegate/
USER 65532:65532
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/scopegate", "health"]
ENTRYPOINT ["/usr/local/bin/scopegate"]
CMD ["serve"]
