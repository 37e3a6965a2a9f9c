/** Graphs of language models over ops, their configuration, and the paged KV cache. */
package org.nanomodel.model;
