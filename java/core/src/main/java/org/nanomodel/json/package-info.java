/**
 * The small JSON files of a model: parsed with limits before anything is believed ({@link
 * org.nanomodel.json.JsonFile}), read field by field with errors that name the file and the field
 * ({@link org.nanomodel.json.JsonFields}). Knows nothing but Jackson and the exceptions.
 */
package org.nanomodel.json;
