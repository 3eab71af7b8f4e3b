# The dashboard and the command line; Neo4j runs beside it (docker-compose.yml).
FROM python:3.11-slim
WORKDIR /throughline
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY tracer tracer
COPY circuits circuits
COPY ingest ingest
COPY cypher cypher
COPY app app
RUN pip install --no-cache-dir -c constraints.txt .
RUN useradd --create-home --uid 1000 reader && mkdir /library && chown reader /library
USER reader
EXPOSE 8501
CMD ["throughline", "app", "--host", "0.0.0.0", "--expose", "--port", "8501", "--no-browser"]
