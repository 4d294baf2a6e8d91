"""Words to prompts: labels, the grammar of labels files, templates."""
