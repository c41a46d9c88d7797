# dbops with the client tools it works with, for Kubernetes CronJobs:
#   docker build -t dbops .
#   docker run --rm -e DATABASE_URL -v "$PWD/dbops.yaml:/config/dbops.yaml:ro" dbops partition ensure

FROM node:22-bookworm-slim AS package
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build && npm pack --ignore-scripts --pack-destination /package

FROM node:22-bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates postgresql-client zstd \
 && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,from=package,source=/package,target=/package \
    npm install --global --offline /package/dbops-*.tgz
# By number, so that Kubernetes can see that it is not root (runAsNonRoot). It is `node` in the base image.
USER 1000:1000
WORKDIR /config
# Logs are read by machines here.
ENV NODE_ENV=production DBOPS_LOG_FORMAT=json
ENTRYPOINT ["dbops"]
CMD ["--help"]
