# docker build -t codexrun . && docker create --name c codexrun && docker cp c:/codexrun . && docker rm c
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# .cargo/config.toml links statically and names the host as target; the last line stops the build if it is not static.
RUN cargo build --release --locked -p codexrun -p codexrun-proxy
RUN mkdir /out && cp target/*/release/codexrun target/*/release/codexrun-proxy /out/
RUN ! LC_ALL=C readelf --program-headers /out/* | grep -q INTERP

FROM scratch
COPY --from=build /out/ /
ENTRYPOINT ["/codexrun"]
