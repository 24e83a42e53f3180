-- Every row of a series: value, expected band, score, decision; oldest first.
SELECT DISTINCT
  detectionperiodstarttime AS time,
  detectorname AS detector,
  measure,
  timeseriesid AS series,
  :dimensions AS dimensions,
  aggregatedmeasurevalue AS value,
  expectedvalue AS expected,
  expectedlower AS lower,
  expectedupper AS upper,
  anomalyscore AS score,
  anomalydecisionthreshold AS threshold,
  anomalydecision AS decision,
  rawscore AS raw_score,
  modelstage AS stage,
  processeddatapoints AS point,
  imputed,
  resultid AS result_id
FROM results
WHERE "date" BETWEEN :first_date AND :last_date
  AND detectionperiodstarttime >= :from_time
  AND detectionperiodstarttime < :to_time
  AND (:detector = '' OR detectorname = :detector)
  AND (:series = '' OR timeseriesid = :series)
ORDER BY series, time, result_id
LIMIT :rows
