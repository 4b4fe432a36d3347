# A small image: the binary, the C library it needs, and the certificates of public authorities.
# No shell, no package manager, no root.
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
RUN cargo build --release --locked
# The image's whole file system, with the libraries that the binary names.
RUN mkdir /image && cd /image \
    && install -D /src/target/release/scopegate usr/local/bin/scopegate \
    && ldd usr/local/bin/scopegate | grep -o '/[^ ]*' | xargs -I{} cp --parents -L {} . \
    && cp --parents -L /etc/ssl/certs/ca-certificates.crt . \
    && install -D -t usr/share/doc/scopegate /src/LICENSE-MIT /src/LICENSE-APACHE

FROM scratch
COPY --from=build /image /
USER 65532:65532
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/scopegate", "health"]
ENTRYPOINT ["/usr/local/bin/scopegate"]
CMD ["serve"]
