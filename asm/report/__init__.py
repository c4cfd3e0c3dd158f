"""Tables, figures and the report page. `paper.yaml` holds the published numbers printed beside ours."""
